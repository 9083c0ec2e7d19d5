#include <fmt/format.h>
#include <string>
#include <zlib.h>

std::string greeting() {
  const unsigned char text[] = "v1";
  return fmt::format("Hello from CMake {}, {:x}\n", "v1", crc32(0, text, 2) & 0);
}
