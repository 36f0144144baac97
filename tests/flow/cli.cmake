# The tool from outside: its manners, and its work on a real store.
if(TARGET holdfast_tool)
    hf_example(cli_shop tests/flow/cli_shop.c) # public headers, the shared library
    hf_test(cli_manners flow 60 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_manners.sh
        $<TARGET_FILE:holdfast_tool>)
    hf_test(cli_store flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_store.sh
        $<TARGET_FILE:holdfast_tool> $<TARGET_FILE:cli_shop>)
    hf_test(cli_changes flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_changes.sh
        $<TARGET_FILE:holdfast_tool> $<TARGET_FILE:cli_shop>)
    hf_test(cli_orders flow 60 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_orders.sh
        ${CMAKE_BINARY_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/examples/orders/orders.ndjson)
    hf_test(cli_copies flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_copies.sh
        ${CMAKE_BINARY_DIR})
    hf_test(cli_verify flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_verify.sh
        ${CMAKE_BINARY_DIR})
endif()
