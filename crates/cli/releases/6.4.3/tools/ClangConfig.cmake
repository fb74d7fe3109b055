if(NOT TARGET clang)
  add_executable(clang IMPORTED GLOBAL)
  set_target_properties(clang PROPERTIES IMPORTED_LOCATION "${CMAKE_CURRENT_LIST_DIR}/../bin/clang-for-kernels")
endif()
