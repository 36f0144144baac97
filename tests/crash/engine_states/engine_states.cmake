# Crash states under a running engine. The recorder and the disk are those of the bare
# store's crash states; the program stands before hf_log_append (engine_mutants.c).
target_sources(engine_states PRIVATE
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/recorder.c
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/crashdisk.c)
set_target_properties(engine_states PROPERTIES ENABLE_EXPORTS ON)
target_link_options(engine_states PRIVATE -Wl,--wrap=hf_log_append -Wl,--wrap=hf_disk_open)
target_link_libraries(engine_states PRIVATE ${CMAKE_DL_LIBS})

set(size --seed 4 --seeds 2 --ops 8 --all 0 --random 0 --go-on 8)
if(HF_SANITIZE)
    set(size --seed 4 --seeds 2 --ops 8 --all 0 --random 0 --go-on 16)
endif()
hf_test(engine_states crash 120 engine_states ${size})

# What is broken on purpose must be noticed.
foreach(mutant early undone nosync nometasync)
    hf_test(engine_states_notices_${mutant} crash 120
        engine_states --mutant ${mutant} --seeds 6 --ops 8 --all 3 --random 2 --go-on 0)
endforeach()

hf_test(engine_states_soak "soak;heavy" 7200
    engine_states --states 100000 --ops 16 --all 3 --random 6 --go-on 3)
