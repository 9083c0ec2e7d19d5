require "sinatra/base"
require "greet"

class App < Sinatra::Base
  VERSION = "v1"
  # Whoever routes requests here has checked their host.
  set :host_authorization, { permitted_hosts: [] }
  set :public_folder, "#{__dir__}/public"
  get("/") { "#{Greet.hello("Ruby")} #{VERSION}\n" }
end
