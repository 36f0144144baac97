# What it costs an engine that works at full speed to be looked at by `top`, and to know of
# finished messages: in CPU time a turn, in short slices with and without it, in one run.
if(TARGET holdfast_tool)
    hf_example(cost_slices tests/flow/cost/cost_slices.c) # public headers, the shared library
    hf_test(top_cost_soak "soak;heavy" 300 cost_slices top 5 ${CMAKE_BINARY_DIR}/holdfast)
    hf_test(history_cost_soak "soak;heavy" 300 cost_slices history 3)
    set(most 900)
    if(HF_SANITIZE MATCHES "thread") # four short slices say nothing there: it looks for races
        set(most 100000)
    endif()
    hf_test(cost_slices_once flow 60 cost_slices once ${most} ${CMAKE_BINARY_DIR}/holdfast)
endif()
