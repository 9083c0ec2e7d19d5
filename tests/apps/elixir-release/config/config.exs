import Config
config :hello, greeting: "Hello from Elixir"
