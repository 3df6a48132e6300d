package com.segmind.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.Gson;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

class PackageTest {
  @Test
  void theServiceConfigIsTheRecommendedOne() throws IOException {
    String source = Files.readString(Path.of(System.getProperty("finetune.source"), "client/cpp/channel.cc"));
    Matcher found = Pattern.compile("kServiceConfig\\[\\] = R\"\\((.*?)\\)\";", Pattern.DOTALL).matcher(source);
    assertTrue(found.find());
    assertEquals(new Gson().fromJson(found.group(1), Map.class), Connection.serviceConfig());
  }

  @Test
  void everySnippetOfTheReadmeCompiles() throws IOException {
    Path tests = Path.of("src/test/java");
    String snippetsAndFirst = Files.readString(tests.resolve("com/segmind/finetune/Snippets.java")) + Files.readString(tests.resolve("First.java"));
    String example = snippetsAndFirst.replaceAll("\\s+", " ");
    Matcher snippets = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL).matcher(Files.readString(Path.of("README.md")));
    int count = 0;
    for (; snippets.find(); count++) assertTrue(example.contains(snippets.group(1).replaceAll("\\s+", " ").strip()), snippets.group(1));
    assertTrue(count > 4);
  }

  @Test
  void loopbackIsKnownInAllItsSpellings() {
    for (String target : List.of("127.0.0.1:1", "127.8.0.1:1", "localhost:1", "localhost", "[::1]:1", "ipv4:127.0.0.1:1", "dns:///localhost:1", "unix:/x"))
      assertTrue(Connection.isLoopback(target), target);
    for (String target : List.of("gateway:1", "10.0.0.1:1", "localhost.example:1", "dns:///gateway:1", "[2001:db8::1]:1"))
      assertFalse(Connection.isLoopback(target), target);
  }

  @Test
  void anAddressNeedsAPort() {
    for (String target : List.of("127.0.0.1:1", "gateway:1", "[::1]:1", "ipv4:127.0.0.1:1", "dns:///gateway:1", "dns://8.8.8.8/gateway:1", "unix:/x", "xds:///x"))
      assertTrue(Unreachable.hasPort(target), target);
    for (String target : List.of("127.0.0.1", "gateway", "::1", "[::1]", "gateway:0", "gateway:70000", "dns:///gateway", "ipv4:127.0.0.1", ":50051"))
      assertFalse(Unreachable.hasPort(target), target);
  }
}
