#include <jansson.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static enum MHD_Result answer(void *nothing, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **context) {
  (void)nothing, (void)url, (void)method, (void)version, (void)data, (void)size, (void)context;
  json_t *object = json_pack("{s:s}", "hello", "from Meson v1");
  char *text = json_dumps(object, JSON_COMPACT);
  json_decref(object);
  struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
  enum MHD_Result queued = MHD_queue_response(connection, 200, response);
  MHD_destroy_response(response);
  return queued;
}

int main(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  struct MHD_Daemon *daemon =
      MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, atoi(getenv("PORT")), NULL, NULL, answer, NULL, MHD_OPTION_END);
  if (!daemon)
    return 1;
  int signal;
  sigwait(&signals, &signal);
  MHD_stop_daemon(daemon);
  return 0;
}
