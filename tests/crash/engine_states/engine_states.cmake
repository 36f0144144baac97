# Crash states under a running engine. The recorder and the disk are those of the bare
# store's crash states; the program stands before hf_log_append (engine_mutants.c).
target_sources(engine_states PRIVATE
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/recorder.c
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/crashdisk.c
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/explore.c
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/scratch.c)
set_target_properties(engine_states PROPERTIES ENABLE_EXPORTS ON)
target_link_options(engine_states PRIVATE -Wl,--wrap=hf_log_append -Wl,--wrap=hf_disk_open
    -Wl,--wrap=hf_fold_slice)
target_link_libraries(engine_states PRIVATE ${CMAKE_DL_LIBS})

# A small life for each operation, then one drawn by chance.
set(ops --op all --all 2 --random 1 --go-on 4)
set(mixed --op mixed --seed 4 --ops 7 --all 0 --random 0 --go-on 8)
if(HF_SANITIZE)
    set(ops --op all --all 2 --random 0 --go-on 16)
    set(mixed --op mixed --seed 4 --seeds 2 --ops 7 --all 0 --random 0 --go-on 16)
endif()
hf_test(engine_states crash 120 engine_states ${ops})
hf_test(engine_states_mixed crash 120 engine_states ${mixed})

# What is broken on purpose must be noticed; then it ends.
foreach(mutant early undone nosync nometasync)
    hf_test(engine_states_notices_${mutant} crash 120
        engine_states --mutant ${mutant} --seeds 10 --ops 8 --all 3 --random 2 --go-on 0)
endforeach()

hf_test(engine_states_ci ci 900
    engine_states --op all --all 10 --random 8 --go-on 3 --seeds 3)
hf_test(engine_states_mixed_ci ci 900
    engine_states --op mixed --seed 4 --seeds 3 --ops 10 --all 2 --random 1 --go-on 4)

# Every subset of up to 14 units; then as many states of mixed lives.
hf_test(engine_states_soak "soak;heavy" 14400
    engine_states --op all --all 14 --random 60 --go-on 3 --states 100000)
hf_test(engine_states_mixed_soak "soak;heavy" 7200
    engine_states --op mixed --states 100000 --ops 16 --all 3 --random 6 --go-on 3)
