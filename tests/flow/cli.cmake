# The tool from outside: its manners, and its work on a real store.
if(TARGET holdfast_tool)
    hf_example(cli_shop tests/flow/cli_shop.c) # public headers, the shared library
    hf_test(cli_manners flow 60 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_manners.sh
        $<TARGET_FILE:holdfast_tool>)
    hf_test_program(cli_terminal ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_terminal.c)
    hf_test(cli_terminal flow 120 cli_terminal $<TARGET_FILE:holdfast_tool>
        $<TARGET_FILE:cli_shop>)
    hf_test(cli_snapshots flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_snapshots.sh
        $<TARGET_FILE:holdfast_tool> $<TARGET_FILE:cli_shop>)
    hf_test(cli_metrics flow 60 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_metrics.sh
        $<TARGET_FILE:holdfast_tool> $<TARGET_FILE:cli_shop>)
    hf_test(cli_store flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_store.sh
        $<TARGET_FILE:holdfast_tool> $<TARGET_FILE:cli_shop>)
    hf_test(cli_changes flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_changes.sh
        $<TARGET_FILE:holdfast_tool> $<TARGET_FILE:cli_shop>)
    hf_test(cli_history flow 60 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_history.sh
        $<TARGET_FILE:holdfast_tool> $<TARGET_FILE:cli_shop>)
    hf_test(cli_orders flow 60 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_orders.sh
        ${CMAKE_BINARY_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/examples/orders/orders.ndjson)
    hf_test(cli_copies flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_copies.sh
        ${CMAKE_BINARY_DIR})
    hf_test(cli_salvage flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_salvage.sh
        ${CMAKE_BINARY_DIR})
    hf_test(cli_verify flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_verify.sh
        ${CMAKE_BINARY_DIR})
    hf_test(cli_edit flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_edit.sh
        $<TARGET_FILE:holdfast_tool> $<TARGET_FILE:cli_shop>)
    hf_test(cli_export flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_export.sh
        $<TARGET_FILE:holdfast_tool> $<TARGET_FILE:cli_shop>)
    hf_test(cli_alarms flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_alarms.sh
        $<TARGET_FILE:holdfast_tool> $<TARGET_FILE:cli_shop>)
    hf_test(cli_tail flow 120 sh ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/cli_tail.sh
        $<TARGET_FILE:holdfast_tool> $<TARGET_FILE:cli_shop>)
endif()
