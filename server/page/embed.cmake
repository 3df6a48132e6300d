# cmake -D OUT=FILE.cc -D HEADER=FILE.h -D NAMESPACE=NAME -D FILES=a;b -P embed.cmake
# Writes a C++ file with the bytes of files in it, and PageFiles(), which lists them by their names.
set(arrays "")
set(rows "")
set(number 0)
foreach(file ${FILES})
  file(READ ${file} bytes HEX)
  get_filename_component(name ${file} NAME)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
  string(APPEND arrays "constexpr char kFile${number}[] = {${bytes}'\\0'};\n")
  string(APPEND rows "      {\"${name}\", {kFile${number}, sizeof(kFile${number}) - 1}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${OUT} "// Generated.
#include \"${HEADER}\"

namespace ${NAMESPACE} {
namespace {

${arrays}
}  // namespace

const std::vector<PageFile>& PageFiles() {
  static const std::vector<PageFile>* const files = new std::vector<PageFile>{
${rows}  };
  return *files;
}

}  // namespace ${NAMESPACE}
")
