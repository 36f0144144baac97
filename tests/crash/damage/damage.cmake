# Seven kinds of damage to a store's data file, read by an engine and by a tool.
target_sources(damage PRIVATE
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/crashdisk.c
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/explore.c
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/crash/states/scratch.c)
target_link_libraries(damage PRIVATE ${CMAKE_DL_LIBS})

# The thread sanitizer has its own malloc and wants more memory than a child here may have.
if(HF_SANITIZE MATCHES "thread")
    return()
endif()

hf_test(damage crash 240 damage --images 14)
hf_test(damage_soak "soak;heavy" 3600 damage --images 2000)
