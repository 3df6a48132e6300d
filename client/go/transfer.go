package finetune

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	pb "github.com/segmind/finetune-gateway/client/go/finetunev1"
	"google.golang.org/grpc/codes"
)

const (
	chunkBytes = 1 << 20
	// How often in a row a transfer may break without getting any further.
	transferAttempts = 6
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// What Segmind takes as an image, and what may lie beside one: its caption, and a table of captions.
var (
	imageSuffixes   = []string{".jpg", ".jpeg", ".png", ".webp"}
	captionSuffixes = []string{".txt", ".caption"}
	captionTables   = []string{"metadata.jsonl", "metadata.csv"}
)

func isImage(name string) bool {
	return slices.Contains(imageSuffixes, strings.ToLower(filepath.Ext(name)))
}

// Progress is called now and then, in bytes; total is 0 while it is unknown.
type Progress func(done, total int64)

// UploadOptions of an upload. FAST_FLUX needs PublicRead. FileName is what the file is called at its other end. Force sends a zip that
// Segmind is likely to refuse.
type UploadOptions struct {
	PublicRead bool
	FileName   string
	Force      bool
	Progress   Progress
}

// Upload sends a zip, or the images of a folder as one, through the gateway; DataSourceUri of what is returned is for Submit. It fails for
// what Segmind would refuse an hour later: no zip, no image at its top level.
func (c *Client) Upload(ctx context.Context, path string, options UploadOptions) (*pb.Dataset, error) {
	file, name, err := openDataset(path, options.Force)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if options.FileName != "" {
		name = options.FileName
	}
	digest := sha256.New()
	size, err := io.Copy(digest, file)
	if err != nil {
		return nil, err
	}
	spec := &pb.DatasetSpec{FileName: name, SizeBytes: size, PublicRead: options.PublicRead, Sha256: digest.Sum(nil)}
	wait := newBackoff(100*time.Millisecond, 20*time.Second)
	for attempt := 1; ; attempt++ {
		dataset, err := c.send(ctx, file, spec, options.Progress)
		var failed *Error
		damaged := errors.As(err, &failed) && failed.Code == codes.DataLoss
		if err == nil || attempt == transferAttempts || ctx.Err() != nil || !(damaged || worthRepeating(err)) {
			return dataset, err
		}
		if sleep(ctx, wait.pause(retryDelay(err))) != nil {
			return nil, err
		}
	}
}

func (c *Client) send(ctx context.Context, file *os.File, spec *pb.DatasetSpec, progress Progress) (*pb.Dataset, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	conn, release, err := c.acquire()
	if err != nil {
		return nil, err
	}
	defer release()
	if err := c.ready(ctx, conn); err != nil {
		return nil, err
	}
	out, cancel := c.outgoing(ctx)
	defer cancel()
	stream, err := pb.NewFineTuneServiceClient(conn).UploadDataset(out)
	if err != nil {
		return nil, c.failure(ctx, err)
	}
	err = stream.Send(&pb.UploadDatasetRequest{Part: &pb.UploadDatasetRequest_Spec{Spec: spec}})
	sent := int64(0)
	for block := make([]byte, chunkBytes); err == nil; {
		n, readErr := io.ReadFull(file, block)
		if n > 0 {
			err = stream.Send(&pb.UploadDatasetRequest{Part: &pb.UploadDatasetRequest_Chunk{Chunk: block[:n]}})
			sent += int64(n)
			if err == nil && progress != nil {
				progress(sent, spec.GetSizeBytes())
			}
		}
		if readErr == io.EOF || readErr == io.ErrUnexpectedEOF {
			break
		}
		if readErr != nil {
			return nil, readErr
		}
	}
	// The gateway may answer early, with an error; CloseAndRecv says which.
	dataset, err := stream.CloseAndRecv()
	return dataset, c.failure(ctx, err)
}

// openDataset opens a zip, or makes one of a folder's images; the second result is what to call it.
func openDataset(path string, force bool) (*os.File, string, error) {
	facts, err := os.Stat(path)
	if err != nil {
		return nil, "", err
	}
	if facts.IsDir() {
		whole, err := filepath.Abs(path)
		if err != nil {
			return nil, "", err
		}
		file, err := zipFolder(path)
		return file, filepath.Base(whole) + ".zip", err
	}
	if !force {
		if err := checkZip(path); err != nil {
			return nil, "", err
		}
	}
	file, err := os.Open(path)
	return file, filepath.Base(path), err
}

func checkZip(path string) error {
	archive, err := zip.OpenReader(path)
	if errors.Is(err, zip.ErrFormat) {
		return fmt.Errorf("%s is no zip", path)
	}
	if err != nil {
		return err
	}
	defer archive.Close()
	for _, entry := range archive.File {
		if !strings.Contains(entry.Name, "/") && isImage(entry.Name) {
			return nil
		}
	}
	return fmt.Errorf("%s has no image at its top level; Segmind looks into no sub-folder", path)
}

// zipFolder makes a nameless file.
func zipFolder(folder string) (*os.File, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var taken []string
	images := 0
	for _, entry := range entries {
		name := entry.Name()
		suffix := strings.ToLower(filepath.Ext(name))
		belongs := isImage(name) || slices.Contains(captionSuffixes, suffix) || slices.Contains(captionTables, name)
		if facts, err := os.Stat(filepath.Join(folder, name)); err != nil || !facts.Mode().IsRegular() || strings.HasPrefix(name, ".") || !belongs {
			continue
		}
		taken = append(taken, name)
		if isImage(name) {
			images++
		}
	}
	if images == 0 {
		return nil, fmt.Errorf("%s has no image (%s) at its top level", folder, strings.Join(imageSuffixes, ", "))
	}
	file, err := os.CreateTemp("", "dataset-*.zip")
	if err != nil {
		return nil, err
	}
	os.Remove(file.Name())
	if err := writeZip(file, folder, taken); err != nil {
		file.Close()
		return nil, err
	}
	_, err = file.Seek(0, io.SeekStart)
	return file, err
}

func writeZip(file io.Writer, folder string, names []string) error {
	archive := zip.NewWriter(file)
	for _, name := range names {
		shown := name
		if !utf8.ValidString(shown) {
			shown = strings.ToValidUTF8(shown, "_")
		}
		entry, err := archive.CreateHeader(&zip.FileHeader{Name: shown, Method: zip.Store})
		if err != nil {
			return err
		}
		image, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		_, err = io.Copy(entry, image)
		image.Close()
		if err != nil {
			return err
		}
	}
	return archive.Close()
}

// DownloadOptions of a download.
type DownloadOptions struct{ Progress Progress }

// Downloaded is a file that was downloaded.
type Downloaded struct {
	SizeBytes int64
	SHA256    [sha256.Size]byte
	// ResumedBytes is how much of it an earlier attempt had left.
	ResumedBytes int64
}

// Download fetches a job's weights into path. It goes on where it broke, also in a later process, unless the file has changed at its
// source; until it is whole its bytes are in PATH.part, and what lies at path stays.
func (c *Client) Download(ctx context.Context, name, path string, options DownloadOptions) (*Downloaded, error) {
	file, err := openPartial(path)
	if err != nil {
		return nil, err
	}
	defer file.close()
	done := &Downloaded{ResumedBytes: file.size}
	wait := newBackoff(100*time.Millisecond, 20*time.Second)
	for attempt := 1; ; attempt++ {
		before := file.size
		err := c.fetch(ctx, name, file, options.Progress)
		if err == nil {
			break
		}
		if file.size > before {
			attempt = 0
			wait.reset()
		}
		repeat := worthRepeating(err)
		if restartable(err) && (before > 0 || file.size > 0) {
			if err := file.restart(""); err != nil {
				return nil, err
			}
			done.ResumedBytes, repeat = 0, true
		}
		if !repeat || attempt >= transferAttempts || ctx.Err() != nil || sleep(ctx, wait.pause(retryDelay(err))) != nil {
			return nil, err
		}
	}
	done.SizeBytes = file.size
	copy(done.SHA256[:], file.digest.Sum(nil))
	return done, file.finish()
}

// restartable says that what is there of a file cannot be continued.
func restartable(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && (failed.Code == codes.DataLoss || failed.Code == codes.OutOfRange ||
		failed.Reason == pb.ErrorReason_WEIGHTS_CHANGED.String())
}

// fetch fetches what is missing, in one stream.
func (c *Client) fetch(ctx context.Context, name string, file *partialFile, progress Progress) error {
	conn, release, err := c.acquire()
	if err != nil {
		return err
	}
	defer release()
	if err := c.ready(ctx, conn); err != nil {
		return err
	}
	out, cancel := c.outgoing(ctx)
	defer cancel()
	request := &pb.DownloadWeightsRequest{Name: name, ReadOffset: file.size}
	if file.size > 0 {
		request.Generation = file.generation
	}
	stream, err := pb.NewFineTuneServiceClient(conn).DownloadWeights(out, request)
	total := int64(-1)
	var whole []byte
	for err == nil {
		var part *pb.DownloadWeightsResponse
		if part, err = stream.Recv(); err != nil {
			break
		}
		if total < 0 {
			total = part.GetTotalSizeBytes()
			if file.size == 0 {
				if err := file.restart(part.GetGeneration()); err != nil {
					return err
				}
			}
		}
		if len(part.GetSha256()) > 0 {
			whole = part.GetSha256()
		}
		if err := take(file, part); err != nil {
			return err
		}
		if progress != nil && len(part.GetChunk()) > 0 {
			progress(file.size, total)
		}
	}
	if !errors.Is(err, io.EOF) {
		return c.failure(ctx, err)
	}
	switch {
	case file.size < total:
		return newError(codes.Unavailable, "the transfer ended at byte %d of %d", file.size, total)
	case total >= 0 && file.size > total:
		return newError(codes.DataLoss, "more bytes came than the file has")
	case whole != nil && !bytes.Equal(whole, file.digest.Sum(nil)):
		return newError(codes.DataLoss, "the SHA-256 of the file is not what the gateway says")
	}
	return nil
}

func take(file *partialFile, part *pb.DownloadWeightsResponse) error {
	if len(part.GetChunk()) == 0 {
		return nil
	}
	if part.GetOffset() != file.size {
		return newError(codes.DataLoss, "byte %d came where byte %d was due", part.GetOffset(), file.size)
	}
	if part.GetCrc32C() != 0 && crc32.Checksum(part.GetChunk(), castagnoli) != part.GetCrc32C() {
		return newError(codes.DataLoss, "the bytes from %d on were damaged on their way", file.size)
	}
	return file.append(part.GetChunk())
}

// partialFile is a file that is being fetched. Its bytes gather in PATH.part and get the final name only when all are there. What is there
// is kept for a later attempt, also of another process, together with the version of the source that it is from (PATH.part.generation).
// Locked against a second fetch of the same path.
type partialFile struct {
	path       string
	file       *os.File
	digest     hash.Hash
	size       int64
	generation string
}

func (f *partialFile) partPath() string       { return f.path + ".part" }
func (f *partialFile) generationPath() string { return f.path + ".part.generation" }

func openPartial(path string) (*partialFile, error) {
	if facts, err := os.Stat(path); err == nil && facts.IsDir() {
		return nil, fmt.Errorf("%s is a folder; name the file", path)
	} else if err == nil && !facts.Mode().IsRegular() {
		// The finished file takes the name, and with it the place of whatever has it.
		return nil, fmt.Errorf("%s is no regular file; name another", path)
	}
	f := &partialFile{path: path, digest: sha256.New()}
	for {
		file, err := os.OpenFile(f.partPath(), os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		err = lock(file)
		if err != nil {
			file.Close()
			return nil, err
		}
		// Another process may have given the file its final name between the opening and the lock.
		mine, mineErr := file.Stat()
		there, thereErr := os.Stat(f.partPath())
		if mineErr == nil && thereErr == nil && os.SameFile(mine, there) {
			f.file = file
			return f, f.load()
		}
		file.Close()
	}
}

func lock(file *os.File) error {
	err := syscall.EINTR
	for err == syscall.EINTR {
		err, _ = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB).(syscall.Errno)
	}
	switch err {
	case 0, syscall.ENOLCK, syscall.ENOSYS, syscall.EOPNOTSUPP: // A file system without locks: go on without one.
		return nil
	case syscall.EWOULDBLOCK:
		return fmt.Errorf("another download to %s is under way", strings.TrimSuffix(file.Name(), ".part"))
	}
	return fmt.Errorf("cannot lock %s: %w", file.Name(), err)
}

func (f *partialFile) load() error {
	generation, err := os.ReadFile(f.generationPath())
	if err != nil || len(generation) == 0 {
		return f.restart("")
	}
	f.generation = string(generation)
	f.size, err = io.Copy(f.digest, f.file)
	return err
}

// restart drops what is there: from now on the file is of this version. One without a version cannot be continued later.
func (f *partialFile) restart(generation string) error {
	os.Remove(f.generationPath())
	if err := f.file.Truncate(0); err != nil {
		return err
	}
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	f.digest, f.size, f.generation = sha256.New(), 0, generation
	if generation == "" {
		return nil
	}
	return os.WriteFile(f.generationPath(), []byte(generation), 0o666)
}

func (f *partialFile) append(data []byte) error {
	n, err := f.file.Write(data)
	f.digest.Write(data[:n])
	f.size += int64(n)
	return err
}

// finish gives the complete file its name, durably.
func (f *partialFile) finish() error {
	if err := f.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.partPath(), f.path); err != nil {
		return err
	}
	os.Remove(f.generationPath())
	folder, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

func (f *partialFile) close() { f.file.Close() }
