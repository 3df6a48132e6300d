package finetune

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func TestTheServiceConfigIsTheRecommendedOne(t *testing.T) {
	source, err := os.ReadFile("../cpp/channel.cc")
	if err != nil {
		t.Skip("not in the project's tree")
	}
	var recommended, mine any
	found := regexp.MustCompile(`(?s)kServiceConfig\[\] = R"\((.*?)\)";`).FindSubmatch(source)
	if json.Unmarshal(found[1], &recommended) != nil || json.Unmarshal([]byte(serviceConfig), &mine) != nil || !reflect.DeepEqual(recommended, mine) {
		t.Error("not the service config that the gateway recommends")
	}
}

func TestTheGeneratedCodeIsCurrent(t *testing.T) {
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Skip("needs protoc")
	}
	fresh := t.TempDir()
	if output, err := exec.Command("./generate.sh", fresh).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	files, _ := filepath.Glob(fresh + "/*.go")
	if len(files) != 3 {
		t.Fatal(files)
	}
	for _, file := range files {
		made, _ := os.ReadFile(file)
		kept, _ := os.ReadFile("finetunev1/" + filepath.Base(file))
		if !bytes.Equal(made, kept) {
			t.Errorf("%s is not current: run client/go/generate.sh", filepath.Base(file))
		}
	}
}

func TestTheSnippetsOfTheReadmeAreThoseOfTheExamples(t *testing.T) {
	readme, _ := os.ReadFile("README.md")
	example, _ := os.ReadFile("example_test.go")
	first, _ := os.ReadFile("example/main.go")
	example = append(example, first...)
	snippets := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(snippets) < 4 {
		t.Fatal("the README has no snippets")
	}
	squeeze := func(text []byte) string { return strings.Join(strings.Fields(string(text)), " ") }
	for _, snippet := range snippets {
		if !strings.Contains(squeeze(example), squeeze(snippet[1])) {
			t.Errorf("not in example_test.go or example/main.go, which are compiled:\n%s", snippet[1])
		}
	}
}

func TestLoopbackIsKnownInAllItsSpellings(t *testing.T) {
	for _, target := range []string{"127.0.0.1:1", "127.8.0.1:1", "localhost:1", "localhost", "[::1]:1", "ipv4:127.0.0.1:1", "dns:///localhost:1", "unix:/x"} {
		if !isLoopback(target) {
			t.Error(target)
		}
	}
	for _, target := range []string{"gateway:1", "10.0.0.1:1", "localhost.example:1", "dns:///gateway:1", "[2001:db8::1]:1"} {
		if isLoopback(target) {
			t.Error(target)
		}
	}
}

func TestAnAddressNeedsAPort(t *testing.T) {
	for _, target := range []string{"127.0.0.1:1", "gateway:1", "[::1]:1", "ipv4:127.0.0.1:1", "dns:///gateway:1", "dns://8.8.8.8/gateway:1", "unix:/x", "xds:///x"} {
		if !hasPort(target) {
			t.Error(target)
		}
	}
	for _, target := range []string{"127.0.0.1", "gateway", "::1", "[::1]", "gateway:0", "gateway:70000", "dns:///gateway", "ipv4:127.0.0.1", ":50051"} {
		if hasPort(target) {
			t.Error(target)
		}
	}
}
