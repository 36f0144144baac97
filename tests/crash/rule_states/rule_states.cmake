# Crash states around each rule of the engine: a rule is a file rules_*.c and a line in
# rules.c. Recorder and disk are those of the bare store's crash states.
target_sources(rule_states PRIVATE
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/engine_states/engine_mutants.c
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/recorder.c
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/crashdisk.c
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/explore.c
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/scratch.c)
set_target_properties(rule_states PROPERTIES ENABLE_EXPORTS ON)
target_link_options(rule_states PRIVATE -Wl,--wrap=hf_log_append -Wl,--wrap=hf_disk_open
    -Wl,--wrap=hf_fold_slice)
target_link_libraries(rule_states PRIVATE ${CMAKE_DL_LIBS})

# Its workers are forked and start engines of their own: not for the thread sanitizer.
if(HF_SANITIZE MATCHES "thread")
    return()
endif()

hf_test(rule_states crash 180 rule_states --all 1 --random 0)
foreach(mutant early nosync nometasync)
    hf_test(rule_states_notices_${mutant} crash 120
        rule_states --rule plain --mutant ${mutant} --seeds 6 --all 3 --random 2)
endforeach()
hf_test(rule_states_ci ci 900 rule_states --all 6 --random 4 --seeds 2)
hf_test(rule_states_soak "soak;heavy" 7200 rule_states --all 12 --random 40 --states 100000)
