# Random operations on the storage core beside a model; more seeds by hand.
file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.c)
hf_test_program(store_model ${sources})
set(seeds 2000)
if(HF_SANITIZE)
    set(seeds 400)
endif()
hf_test(store_model flow 120 store_model 1 ${seeds})
