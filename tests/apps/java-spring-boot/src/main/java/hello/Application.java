package hello;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

@SpringBootApplication
@RestController
public class Application {
  @GetMapping("/")
  String hello() {
    return "Hello from Spring Boot v1\n";
  }

  public static void main(String[] arguments) {
    SpringApplication.run(Application.class, arguments);
  }
}
