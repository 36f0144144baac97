# The tool's own tests need its insides, all but main.
file(GLOB cli_sources CONFIGURE_DEPENDS tools/*.c)
list(FILTER cli_sources EXCLUDE REGEX "/main\\.c$")
add_library(cli_inside STATIC ${cli_sources})
target_include_directories(cli_inside PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(cli_inside PRIVATE holdfast_flags holdfast_static ${needs})
foreach(name test_cli_options test_cli_render test_cli_json)
    target_link_libraries(${name} PRIVATE cli_inside holdfast_static ${needs} m)
endforeach()
