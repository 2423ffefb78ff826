# The Debian package: cpack --config build/release/CPackConfig.cmake -G DEB. Release, maintainer and
# date are those of the changelog's first entry.
set(debian ${CMAKE_CURRENT_LIST_DIR})
file(STRINGS ${debian}/changelog trailer REGEX "^ -- " LIMIT_COUNT 1)
string(REGEX MATCH "^ -- (.+>)  (.+)$" trailer "${trailer}")
set(maintainer ${CMAKE_MATCH_1})
execute_process(COMMAND date -u -d ${CMAKE_MATCH_2} +%Y-%m-%d OUTPUT_VARIABLE OUTBOX_RELEASE_DATE
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR})
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_PACKAGE_NAME outbox-relay)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT ${maintainer})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "transactional outbox relay from PostgreSQL to Kafka")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"A service writes its data and its events in one PostgreSQL transaction; this
program publishes the committed events to Apache Kafka, in order, losing
nothing, and removes a row only after Kafka has confirmed its event.
.
It reads the outbox table or the write-ahead log, several relays stand by for
each other, and every stall is told with its cause. No Kafka Connect, no JVM.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, libnss-systemd")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS postgresql-client)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${debian}/conffiles ${debian}/postinst ${debian}/prerm ${debian}/postrm)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${debian}/stage.cmake)
set(CPACK_OUTBOX_SOURCE ${PROJECT_SOURCE_DIR})
include(CPack)
