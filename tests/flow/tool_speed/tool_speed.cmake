# A store in which very much waits: what the tool tells about it is right, and how fast.
if(TARGET holdfast_tool)
    hf_example(large_store tests/flow/tool_speed/large_store.c) # public headers, the shared library
    foreach(size 300000 10000000)
        set(label flow)
        set(name tool_large)
        if(size EQUAL 10000000)
            set(label "soak;heavy")
            set(name tool_speed_soak)
        endif()
        hf_test(${name} "${label}" 900 sh
            ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/tool_speed/tool_speed.sh ${CMAKE_BINARY_DIR} ${size})
    endforeach()
endif()
