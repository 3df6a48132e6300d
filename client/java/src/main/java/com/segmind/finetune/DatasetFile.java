package com.segmind.finetune;

import com.google.protobuf.ByteString;
import com.segmind.finetune.v1.DatasetSpec;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/** A zip that is to be uploaded: the one at a path, or one made of a folder's images. */
final class DatasetFile implements AutoCloseable {
  /** What Segmind takes as an image, and what may lie beside one: its caption, and a table of captions. */
  private static final List<String> IMAGES = List.of(".jpg", ".jpeg", ".png", ".webp");
  private static final List<String> CAPTIONS = List.of(".txt", ".caption");
  private static final List<String> TABLES = List.of("metadata.jsonl", "metadata.csv");

  private final Path path;
  private final boolean temporary;
  private final DatasetSpec spec;

  DatasetFile(Path given, boolean publicRead, String fileName, boolean force) throws IOException {
    temporary = Files.isDirectory(given);
    if (!temporary && !force) check(given);
    path = temporary ? zip(given) : given;
    String name = given.toAbsolutePath().normalize().getFileName() + (temporary ? ".zip" : "");
    MessageDigest digest = PartialFile.sha256();
    long size = 0;
    byte[] block = new byte[1 << 20];
    try (InputStream in = Files.newInputStream(path)) {
      for (int count = in.read(block); count > 0; count = in.read(block)) {
        digest.update(block, 0, count);
        size += count;
      }
    }
    spec = DatasetSpec.newBuilder().setFileName(fileName.isEmpty() ? name : fileName).setSizeBytes(size).setPublicRead(publicRead)
        .setSha256(ByteString.copyFrom(digest.digest())).build();
  }

  Path path() {
    return path;
  }

  DatasetSpec spec() {
    return spec;
  }

  private static boolean hasSuffix(String name, List<String> suffixes) {
    String lower = name.toLowerCase(Locale.ROOT);
    return suffixes.stream().anyMatch(lower::endsWith);
  }

  private static boolean belongs(Path file) {
    String name = file.getFileName().toString();
    return Files.isRegularFile(file) && !name.startsWith(".") && (hasSuffix(name, IMAGES) || hasSuffix(name, CAPTIONS) || TABLES.contains(name));
  }

  private static Path zip(Path folder) throws IOException {
    List<Path> taken;
    try (Stream<Path> files = Files.list(folder)) {
      taken = files.filter(DatasetFile::belongs).sorted().toList();
    }
    if (taken.stream().noneMatch(file -> hasSuffix(file.getFileName().toString(), IMAGES)))
      throw new IllegalArgumentException(folder + " has no image (" + String.join(", ", IMAGES) + ") at its top level");
    Path made = Files.createTempFile("dataset-", ".zip");
    try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(made))) {
      out.setLevel(0);
      for (Path file : taken) {
        out.putNextEntry(new ZipEntry(file.getFileName().toString()));
        Files.copy(file, out);
        out.closeEntry();
      }
    } catch (IOException error) {
      Files.deleteIfExists(made);
      throw error;
    }
    return made;
  }

  private static void check(Path path) throws IOException {
    try (ZipFile archive = new ZipFile(path.toFile())) {
      if (archive.stream().noneMatch(entry -> !entry.getName().contains("/") && hasSuffix(entry.getName(), IMAGES)))
        throw new IllegalArgumentException(path + " has no image at its top level; Segmind looks into no sub-folder");
    } catch (ZipException error) {
      throw new IllegalArgumentException(path + " is no zip", error);
    }
  }

  @Override
  public void close() throws IOException {
    if (temporary) Files.deleteIfExists(path);
  }
}
