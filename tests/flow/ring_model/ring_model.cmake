# Random programs on a whole engine beside a ledger; more seeds by hand.
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.c)
hf_test_program(ring_model ${sources})
set(seeds 60)
if(HF_SANITIZE)
    set(seeds 40)
endif()
hf_test(ring_model flow 120 ring_model 1 ${seeds})
