# docs/operations.md: what the page says is done, and what it shows is compared.
if(TARGET holdfast_tool)
    hf_example(ops_shop tests/flow/operations/ops_shop.c) # public headers, the shared library
    hf_test(operations flow 300 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/operations/operations.sh
        ${CMAKE_BINARY_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/docs/operations.md)
endif()
