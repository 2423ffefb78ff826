# schema/catalog as C arrays, for as many versions as there are migrations: OUTPUT, FOLDER, VERSIONS.
include(${CMAKE_CURRENT_LIST_DIR}/embed_bytes.cmake)
function(array name path)
  set(bytes "")
  if(EXISTS ${path}) # a new version has none yet
    c_bytes(bytes ${path})
  endif()
  string(APPEND text "static const char ${name}[] = {\n${bytes}0};\n")
  set(text "${text}" PARENT_SCOPE)
endfunction()

set(text "#include \"cli/schema_catalog.h\"\n\n")
array(query ${FOLDER}/catalog.sql)
set(rows "")
foreach(version RANGE 1 ${VERSIONS})
  array(version_${version} ${FOLDER}/${version}.txt)
  string(APPEND rows "    version_${version},\n")
endforeach()
string(APPEND text "\nconst char *const schema_catalog_query = query;\n"
  "const char *const schema_catalogs[] = {\n${rows}};\n")
file(WRITE ${OUTPUT} "${text}")
