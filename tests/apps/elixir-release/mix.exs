defmodule Hello.MixProject do
  use Mix.Project

  def project do
    [
      app: :hello,
      version: "1.0.0",
      elixir: "~> 1.18",
      aliases: ["assets.deploy": &deploy_assets/1]
    ]
  end

  def application do
    [extra_applications: [:logger], mod: {Hello, []}]
  end

  # What a front end is built to becomes a part of the release.
  defp deploy_assets(_arguments) do
    File.mkdir_p!("priv/static")
    {version, 0} = System.cmd("node", ["-p", "require('./assets/node_modules/nanoid/package.json').name"])
    File.write!("priv/static/front-end.txt", version)
  end
end
