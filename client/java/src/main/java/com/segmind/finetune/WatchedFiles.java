package com.segmind.finetune;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Files that are read again when they change; what was good stays until something good comes. They are looked at once a second at most.
 * Thread-safe.
 */
final class WatchedFiles<T> {
  interface Parser<T> {
    T parse(Map<String, byte[]> files) throws IOException;
  }

  /** What the files say, and a number that changes with it. */
  record Value<T>(T value, int version) {}

  private static final int LARGEST = 1 << 20;

  private final Map<String, Path> paths;
  private final Parser<T> parser;
  private Map<String, byte[]> data;
  private Value<T> value;
  private long looked = System.nanoTime();

  WatchedFiles(Map<String, Path> paths, Parser<T> parser) {
    this.paths = paths;
    this.parser = parser;
    try {
      data = read();
      value = new Value<>(parser.parse(data), 0);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  synchronized Value<T> value() {
    if (!paths.isEmpty() && System.nanoTime() - looked >= 1_000_000_000L) {
      looked = System.nanoTime();
      try {
        Map<String, byte[]> now = read();
        if (now.entrySet().stream().anyMatch(file -> !Arrays.equals(file.getValue(), data.get(file.getKey())))) {
          value = new Value<>(parser.parse(now), value.version() + 1);
          data = now;
        }
      } catch (IOException | IllegalArgumentException passing) {
        return value; // Half written, or removed for a moment: the next look will tell.
      }
    }
    return value;
  }

  private Map<String, byte[]> read() throws IOException {
    Map<String, byte[]> found = new LinkedHashMap<>();
    for (Map.Entry<String, Path> file : paths.entrySet()) found.put(file.getKey(), read(file.getKey(), file.getValue()));
    return found;
  }

  private static byte[] read(String what, Path path) throws IOException {
    byte[] bytes;
    try (InputStream in = Files.newInputStream(path)) {
      bytes = in.readNBytes(LARGEST + 1);
    } catch (IOException error) {
      throw new IOException("cannot read the " + what + " file " + path + ": " + error, error);
    }
    if (bytes.length > LARGEST) throw new IOException("the " + what + " file " + path + " is larger than a MiB");
    boolean marked = bytes.length >= 3 && bytes[0] == (byte) 0xef && bytes[1] == (byte) 0xbb && bytes[2] == (byte) 0xbf;
    if (marked) bytes = Arrays.copyOfRange(bytes, 3, bytes.length);
    if (new String(bytes, java.nio.charset.StandardCharsets.ISO_8859_1).isBlank())
      throw new IOException("the " + what + " file " + path + " is empty");
    return bytes;
  }
}
