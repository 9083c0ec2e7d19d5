# A gem that has to be compiled.
Gem::Specification.new do |gem|
  gem.name = "greet"
  gem.version = "1.0.0"
  gem.summary = "Says hello from C"
  gem.authors = ["paas"]
  gem.license = "MIT"
  gem.files = ["ext/greet/extconf.rb", "ext/greet/greet.c"]
  gem.extensions = ["ext/greet/extconf.rb"]
end
