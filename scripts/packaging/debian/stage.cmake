# Between installation and packing: what Debian wants otherwise than other systems.
set(stage ${CPACK_TEMPORARY_INSTALL_DIRECTORY})
set(debian ${CPACK_CACHECTL_SOURCE_DIR}/scripts/packaging/debian)

file(STRINGS ${debian}/changelog newest LIMIT_COUNT 1)
if(NOT newest MATCHES "^cachectl \\(${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}\\) ")
  message(FATAL_ERROR "scripts/packaging/debian/changelog begins with another version: ${newest}")
endif()

function(compress) # without a time, so that the same files make the same package
  execute_process(COMMAND gzip -9n ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(components runtime dev)
set(packages cachectl cachectl-dev)
foreach(component package IN ZIP_LISTS components packages)
  set(doc ${stage}/${component}/usr/share/doc/${package})
  file(COPY ${debian}/copyright DESTINATION ${doc})
  configure_file(${debian}/changelog ${doc}/changelog.Debian COPYONLY)
  compress(${doc}/changelog.Debian)
endforeach()

# The license is in copyright.
set(doc ${stage}/runtime/usr/share/doc/cachectl)
file(REMOVE ${doc}/LICENSE)
file(RENAME ${doc}/CHANGELOG.md ${doc}/changelog)
compress(${doc}/changelog)
file(GLOB pages ${stage}/runtime/usr/share/man/man1/*.1)
compress(${pages})

set(share ${stage}/runtime/usr/share)
file(MAKE_DIRECTORY ${share}/zsh/vendor-completions)
file(RENAME ${share}/zsh/site-functions/_cachectl ${share}/zsh/vendor-completions/_cachectl)
file(REMOVE_RECURSE ${share}/zsh/site-functions)

# As dh_strip does.
file(GLOB libraries ${stage}/dev/usr/lib/*/*.a)
foreach(binary ${stage}/runtime/usr/bin/cachectl ${libraries})
  execute_process(COMMAND strip --strip-debug --remove-section=.comment --remove-section=.note
      --enable-deterministic-archives ${binary}
    COMMAND_ERROR_IS_FATAL ANY)
endforeach()

foreach(component package IN ZIP_LISTS components packages)
  set(overrides ${stage}/${component}/usr/share/lintian/overrides)
  file(MAKE_DIRECTORY ${overrides})
  configure_file(${debian}/${package}.lintian-overrides ${overrides}/${package} COPYONLY)
endforeach()
