# Run by cpack between the installation into its folder and the packing: what Debian has elsewhere,
# compressed, or not at all.
set(root ${CPACK_TEMPORARY_DIRECTORY})
set(doc ${root}/usr/share/doc/outbox-relay)
set(debian ${CPACK_OUTBOX_SOURCE}/deploy/debian)
set(plain FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)

function(compress path)
  execute_process(COMMAND gzip -9nf ${path} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(COPY ${debian}/relay.json DESTINATION ${root}/etc/outbox-relay ${plain})
file(MAKE_DIRECTORY ${root}/etc/outbox-relay/credentials)
file(CHMOD ${root}/etc/outbox-relay/credentials PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)

# As they are: those that were installed name cpack's own folder.
set(units ${CPACK_OUTBOX_SOURCE}/deploy/systemd)
file(REMOVE_RECURSE ${root}/usr/lib)
file(COPY ${units}/outbox-relay.service ${units}/outbox-relay@.service
  DESTINATION ${root}/lib/systemd/system ${plain})

file(REMOVE ${doc}/LICENSE)
file(COPY ${debian}/copyright ${debian}/README.Debian ${debian}/changelog DESTINATION ${doc} ${plain})
file(COPY ${CPACK_OUTBOX_SOURCE}/deploy/systemd/credentials.conf DESTINATION ${doc}/examples ${plain})
file(COPY ${debian}/lintian-overrides DESTINATION ${root}/usr/share/lintian/overrides ${plain})
file(RENAME ${root}/usr/share/lintian/overrides/lintian-overrides
  ${root}/usr/share/lintian/overrides/outbox-relay)
compress(${doc}/changelog)
compress(${root}/usr/share/man/man1/outbox-relay.1)
