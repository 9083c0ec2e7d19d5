package hello;

import org.apache.commons.lang3.StringUtils;

public class Greeting {
  public static String text() {
    return StringUtils.capitalize("hello from Maven v1\n");
  }
}
