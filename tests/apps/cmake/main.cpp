#include <cstdlib>
#include <csignal>
#include <httplib.h>
#include <string>

std::string greeting();

static httplib::Server server;

int main() {
  std::signal(SIGTERM, [](int) { server.stop(); });
  server.Get("/", [](const httplib::Request &, httplib::Response &response) {
    response.set_content(greeting(), "text/plain");
  });
  return server.listen("0.0.0.0", std::atoi(std::getenv("PORT"))) ? 0 : 1;
}
