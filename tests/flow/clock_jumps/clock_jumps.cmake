# A process whose clock is set by libfaketime, which no sanitizer goes with.
if(NOT HF_SANITIZE)
    hf_test_program(clock_jumps ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/clock_jumps/clock_jumps.c)
    hf_test(clock_jumps flow 300 clock_jumps)
    hf_test(clock_jumps_20 "soak;heavy" 7200 clock_jumps 20)
    set_tests_properties(clock_jumps clock_jumps_20 PROPERTIES SKIP_RETURN_CODE 77)
endif()
