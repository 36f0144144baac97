# The counters: their figures on a quiet machine, and kills at random.
if(TARGET counters)
    hf_test(counters_run "soak;heavy" 120
        ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/counters/counters_test.sh ${CMAKE_BINARY_DIR} run)
    hf_test(counters_kill flow 120
        ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/counters/counters_test.sh ${CMAKE_BINARY_DIR} kill 10)
    hf_test(counters_kill_100 "soak;heavy" 900
        ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/counters/counters_test.sh ${CMAKE_BINARY_DIR} kill 100)
endif()
