require "mkmf"
create_makefile "greet"
