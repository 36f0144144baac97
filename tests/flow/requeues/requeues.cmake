# Many dead letters requeued by a filter. As it is meant: 100,000 of them.
if(TARGET holdfast_tool)
    hf_example(requeue_jobs tests/flow/requeues/requeue_jobs.c) # public headers, the shared library
    foreach(size 2000 100000)
        set(label flow)
        set(name requeues)
        if(size EQUAL 100000)
            set(label "soak;heavy")
            set(name requeues_soak)
        endif()
        hf_test(${name} "${label}" 300 sh
            ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/requeues/requeues.sh ${CMAKE_BINARY_DIR} ${size})
    endforeach()
endif()
