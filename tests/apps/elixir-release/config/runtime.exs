import Config
if config_env() == :prod, do: config(:hello, port: String.to_integer(System.fetch_env!("PORT")))
