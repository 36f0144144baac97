# The tool's own tests need its insides, all but main.
foreach(name test_cli_options test_cli_render test_cli_json)
    target_link_libraries(${name} PRIVATE cli_inside holdfast_static ${needs} m)
endforeach()
