package hello;

import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;

/** Answers until it is asked to stop, and says that it was. */
public class Site {
  public static void main(String[] arguments) throws Exception {
    int port = Integer.parseInt(System.getenv("PORT"));
    HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
    server.createContext("/memory", exchange -> answer(exchange, Runtime.getRuntime().maxMemory() / (1 << 20) + "\n"));
    server.createContext("/", exchange -> answer(exchange, Greeting.text()));
    Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("asked to stop")));
    server.start();
  }

  private static void answer(com.sun.net.httpserver.HttpExchange exchange, String text) throws java.io.IOException {
    byte[] body = text.getBytes(StandardCharsets.UTF_8);
    exchange.sendResponseHeaders(200, body.length);
    exchange.getResponseBody().write(body);
    exchange.close();
  }
}
