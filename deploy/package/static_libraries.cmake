# Makes the imported targets of gRPC, protobuf and Abseil, and of c-ares and RE2 below them, stand for Debian's static archives, so that
# a program needs none of their shared libraries. All of them or none: two copies of gRPC or of protobuf's descriptors in one process
# do not get on. No shared library that is left may need one of these; tests/deploy/package_test.py looks.
#
# lld takes archives in any order, which Debian's CMake files, written for shared libraries, rely on.
function(link_statically)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    if(NOT target MATCHES "^(absl|c-ares|gRPC|protobuf|re2)::")
      continue()
    endif()
    get_target_property(type ${target} TYPE)
    if(target STREQUAL re2::re2)
      find_library(RE2_ARCHIVE libre2.a REQUIRED)
      set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES ${RE2_ARCHIVE})
    elseif(type MATCHES "^(SHARED|UNKNOWN)_LIBRARY$")
      get_target_property(shared ${target} LOCATION)
      string(REGEX REPLACE "\\.so[0-9.]*$" ".a" archive "${shared}")
      if(NOT EXISTS ${archive})
        message(FATAL_ERROR "FINETUNE_STATIC: there is no static archive for ${target} (${archive})")
      endif()
      get_target_property(configurations ${target} IMPORTED_CONFIGURATIONS)
      foreach(configuration IN LISTS configurations)
        set_target_properties(${target} PROPERTIES IMPORTED_LOCATION_${configuration} ${archive})
      endforeach()
      set_target_properties(${target} PROPERTIES IMPORTED_LOCATION ${archive})
    endif()
  endforeach()
endfunction()
