// Methods, interfaces, goroutines, garbage. go build -o work-go work.go
package main

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"
)

type counter struct {
	words map[string]int
}

type adder interface{ add(text string) }

func (c *counter) add(text string) {
	for _, word := range strings.Fields(text) {
		c.words[strings.ToUpper(word)]++
	}
}

func (c counter) top() []string {
	var words []string
	for word := range c.words {
		words = append(words, word)
	}
	sort.Slice(words, func(i, j int) bool { return words[i] < words[j] })
	return words
}

func main() {
	end := time.Now().Add(2 * time.Second)
	var all sync.WaitGroup
	for n := 0; n < 2; n++ {
		all.Add(1)
		go func(n int) {
			defer all.Done()
			for time.Now().Before(end) {
				c := &counter{words: map[string]int{}}
				var a adder = c
				for i := 0; i < 2000; i++ {
					a.add(fmt.Sprintf("one %d two %d", i, n))
				}
				_ = c.top()
			}
		}(n)
	}
	all.Wait()
}
