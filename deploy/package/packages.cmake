# A Debian package of each program, for whoever is given it: `cmake --build --preset release --target packages` leaves them in the
# build's packages/. What is in them is laid out by deploy/package/tree.sh; what they need is found by dpkg-shlibdeps.
set(package_source ${PROJECT_SOURCE_DIR}/deploy/package)
set(package_tree ${PROJECT_BINARY_DIR}/package-tree)
install(DIRECTORY ${package_tree}/finetune/ DESTINATION . USE_SOURCE_PERMISSIONS COMPONENT finetune EXCLUDE_FROM_ALL)
install(DIRECTORY ${package_tree}/finetune-gateway/ DESTINATION . USE_SOURCE_PERMISSIONS COMPONENT finetune-gateway EXCLUDE_FROM_ALL)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME finetune-gateway)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The Segmind fine-tune gateway authors <finetune-gateway@segmind.com>")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /)
set(CPACK_COMPONENTS_ALL finetune finetune-gateway)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

set(CPACK_DEBIAN_FINETUNE_PACKAGE_NAME finetune)
set(CPACK_DEBIAN_FINETUNE_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_FINETUNE_PACKAGE_DEPENDS ca-certificates)
set(CPACK_COMPONENT_FINETUNE_DESCRIPTION "command line of the Segmind fine-tune gateway
Submits, lists, watches and waits for fine-tuning jobs at Segmind, and moves
datasets and weights, through a company's gateway.")

set(CPACK_DEBIAN_FINETUNE-GATEWAY_PACKAGE_NAME finetune-gateway)
set(CPACK_DEBIAN_FINETUNE-GATEWAY_PACKAGE_SECTION net)
set(CPACK_DEBIAN_FINETUNE-GATEWAY_PACKAGE_DEPENDS "adduser, ca-certificates")
set(CPACK_COMPONENT_FINETUNE-GATEWAY_DESCRIPTION "gRPC gateway to Segmind fine-tuning
One service within a company that holds the API key, the account's webhook and
the view of all fine-tuning jobs, and gives them to every other service by one
gRPC interface.")
set(CPACK_DEBIAN_FINETUNE-GATEWAY_PACKAGE_CONTROL_EXTRA ${package_source}/conffiles ${package_source}/postinst
    ${package_source}/prerm ${package_source}/postrm)
include(CPack)

add_custom_target(packages
  COMMAND ${package_source}/tree.sh ${package_tree} $<TARGET_FILE:finetune> $<TARGET_FILE:finetune-gateway> ${PROJECT_VERSION}
  COMMAND ${CMAKE_CPACK_COMMAND} --config ${PROJECT_BINARY_DIR}/CPackConfig.cmake
  DEPENDS finetune finetune-gateway VERBATIM)
