#include <ruby.h>

static VALUE hello(VALUE module, VALUE name) {
  return rb_sprintf("Hello from %" PRIsVALUE ", in C,", name);
}

void Init_greet(void) {
  rb_define_singleton_method(rb_define_module("Greet"), "hello", hello, 1);
}
