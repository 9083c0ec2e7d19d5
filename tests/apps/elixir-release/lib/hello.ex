defmodule Hello do
  use Application

  @version "v1"

  def start(_type, _arguments) do
    port = Application.fetch_env!(:hello, :port)
    {:ok, socket} = :gen_tcp.listen(port, [:binary, packet: :http_bin, active: false, reuseaddr: true, backlog: 100])
    Supervisor.start_link([{Task, fn -> accept(socket) end}], strategy: :one_for_one)
  end

  defp accept(socket) do
    {:ok, client} = :gen_tcp.accept(socket)
    spawn(fn -> serve(client, nil) end)
    accept(socket)
  end

  defp serve(client, path) do
    case :gen_tcp.recv(client, 0) do
      {:ok, {:http_request, _method, {:abs_path, path}, _version}} -> serve(client, path)
      {:ok, :http_eoh} -> answer(client, page(path))
      {:ok, _header} -> serve(client, path)
      {:error, _reason} -> :gen_tcp.close(client)
    end
  end

  defp page("/front-end.txt"), do: File.read!(Application.app_dir(:hello, "priv/static/front-end.txt"))
  defp page(_path), do: "#{Application.fetch_env!(:hello, :greeting)} #{@version}\n"

  defp answer(client, body) do
    head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: #{byte_size(body)}\r\n\r\n"
    :gen_tcp.send(client, head <> body)
    :gen_tcp.close(client)
  end
end
