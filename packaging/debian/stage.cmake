# Between installation and packing: what Debian wants otherwise than other systems.
set(stage ${CPACK_TEMPORARY_INSTALL_DIRECTORY})
set(debian ${CPACK_CACHECTL_SOURCE_DIR}/packaging/debian)

file(STRINGS ${debian}/changelog newest LIMIT_COUNT 1)
if(NOT newest MATCHES "^cachectl \\(${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}\\) ")
  message(FATAL_ERROR "packaging/debian/changelog begins with another version: ${newest}")
endif()

function(compress) # without a time, so that the same files make the same package
  execute_process(COMMAND gzip -9n ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(doc_runtime ${stage}/runtime/usr/share/doc/cachectl)
set(doc_dev ${stage}/dev/usr/share/doc/cachectl-dev)
foreach(doc ${doc_runtime} ${doc_dev})
  file(COPY ${debian}/copyright DESTINATION ${doc})
  configure_file(${debian}/changelog ${doc}/changelog.Debian COPYONLY)
  compress(${doc}/changelog.Debian)
endforeach()

# The license is in copyright.
file(REMOVE ${doc_runtime}/LICENSE)
file(RENAME ${doc_runtime}/CHANGELOG.md ${doc_runtime}/changelog)
compress(${doc_runtime}/changelog)
file(GLOB pages ${stage}/runtime/usr/share/man/man1/*.1)
compress(${pages})

set(share ${stage}/runtime/usr/share)
file(MAKE_DIRECTORY ${share}/zsh/vendor-completions)
file(RENAME ${share}/zsh/site-functions/_cachectl ${share}/zsh/vendor-completions/_cachectl)
file(REMOVE_RECURSE ${share}/zsh/site-functions)

file(MAKE_DIRECTORY ${share}/lintian/overrides)
configure_file(${debian}/lintian-overrides ${share}/lintian/overrides/cachectl COPYONLY)
