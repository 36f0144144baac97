# The orders: their parts by themselves, then the program from end to end.
# A soak: tests/flow/orders/orders_test.sh BUILD kill 200
if(TARGET orders)
    set(parts command order_json ledger catalogue services floor)
    list(TRANSFORM parts REPLACE "(.+)" "${CMAKE_CURRENT_SOURCE_DIR}/examples/orders/\\1.c")
    foreach(name orders_parts ledger_check)
        hf_program(${name} ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/orders/${name}.c ${parts})
        target_link_libraries(${name} PRIVATE holdfast PkgConfig::CMOCKA PkgConfig::MSGPACK
            PkgConfig::SQLITE Threads::Threads)
    endforeach()
    # The actors themselves, on the test kit, as an installed program would have it.
    hf_program(orders_kit ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/orders/orders_kit.c ${parts}
        ${CMAKE_CURRENT_SOURCE_DIR}/examples/orders/order.c
        ${CMAKE_CURRENT_SOURCE_DIR}/examples/orders/order_steps.c
        ${CMAKE_CURRENT_SOURCE_DIR}/examples/orders/tally.c)
    target_link_libraries(orders_kit PRIVATE holdfast PkgConfig::CMOCKA PkgConfig::MSGPACK
        PkgConfig::SQLITE Threads::Threads)
    hf_test(orders_kit flow 120 orders_kit)
    hf_test(orders_parts unit 60 orders_parts)
    foreach(part demo lines kill fail down)
        hf_test(orders_${part} flow 120
            ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/orders/orders_test.sh ${CMAKE_BINARY_DIR} ${part})
    endforeach()
    if(TARGET holdfast_tool)
        hf_test(orders_mended flow 120 sh
            ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/orders/orders_mended.sh ${CMAKE_BINARY_DIR})
    endif()
    hf_test(orders_speed "soak;heavy" 120
        ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/orders/orders_test.sh ${CMAKE_BINARY_DIR} speed)
endif()
foreach(name hello greeter_test workers telemetry)
    if(TARGET ${name})
        hf_test(example_${name} flow 60
            ${CMAKE_CURRENT_SOURCE_DIR}/tests/flow/orders/example_test.sh ${CMAKE_BINARY_DIR} ${name})
    endif()
endforeach()
