# The Debian packages, for CPack: cachectl and cachectl-dev.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME cachectl)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "durable, coalescing cache for shell commands")
set(CPACK_PACKAGE_CONTACT "cachectl maintainers <maintainers@cachectl.invalid>")
set(CPACK_COMPONENTS_ALL runtime dev)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
# Whatever the umask of who builds is.
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
  GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/stage.cmake)
set(CPACK_CACHECTL_SOURCE_DIR ${PROJECT_SOURCE_DIR})

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME cachectl)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION utils)
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION
"One cache for the shell scripts, CI jobs and cron entries of a machine. Of all
who ask for the output of a command at the same time, one runs it, and all of
them get its output and exit status; later calls replay them until they have
expired. Reads take no lock, and what was stored survives a power loss.")
if(NOT CACHECTL_STATIC)
  set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
endif()

set(CPACK_DEBIAN_DEV_PACKAGE_NAME cachectl-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS
  "libboost-filesystem1.81-dev, libexpected-dev, libxxhash-dev, libhiredis-dev, libzstd-dev, \
libstdc++-12-dev")
if(NOT CACHECTL_STATIC)
  string(APPEND CPACK_DEBIAN_DEV_PACKAGE_DEPENDS ", libfmt-dev")
endif()
set(CPACK_COMPONENT_DEV_DESCRIPTION
"The headers and static libraries that the command cachectl is made of, for
C++20 programs that read a cache too often to start a process for each value.")
include(CPack)
