# The house: checks of the tree and of what it installs.
set(house ${CMAKE_CURRENT_SOURCE_DIR}/tests/house)
list(TRANSFORM headers PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE public_headers)

hf_test(house_arrows house 60 sh ${house}/arrows.sh ${CMAKE_CURRENT_SOURCE_DIR})
hf_test(house_sizes house 60 sh ${house}/sizes.sh ${CMAKE_CURRENT_SOURCE_DIR})
hf_test(house_layout house 60 sh ${house}/layout.sh ${CMAKE_CURRENT_SOURCE_DIR})
hf_test(house_readme house 60 sh ${house}/readme.sh ${CMAKE_CURRENT_SOURCE_DIR})
hf_test(house_symbols house 60 sh ${house}/symbols.sh $<TARGET_FILE:holdfast> ${public_headers})
if(NOT HF_SANITIZE) # whoever links a sanitized library needs the sanitizer too
    hf_test(house_installed house 300 sh ${house}/installed.sh ${CMAKE_CURRENT_SOURCE_DIR}
        ${CMAKE_CURRENT_BINARY_DIR} ${CMAKE_C_COMPILER} ${CMAKE_CXX_COMPILER})
endif()
if(TARGET pages)
    hf_test(house_manuals house 120 sh ${house}/manuals.sh ${CMAKE_CURRENT_BINARY_DIR})
endif()
