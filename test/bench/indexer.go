package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esutil"
)

// index sends the documents of a file that has a bulk's form through Elastic's
// own BulkIndexer: what a Go program uses that does not assemble bulks itself.
func index(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("indexer", flag.ContinueOnError)
	url := fs.String("url", "", "of the server")
	stream := fs.String("index", "", "data stream")
	documents := fs.String("documents", "", "file")
	if err := fs.Parse(args); err != nil {
		return err
	}
	client, err := elasticsearch.NewClient(elasticsearch.Config{
		Addresses: []string{*url}, CompressRequestBody: true, CompressRequestBodyLevel: gzip.BestSpeed, PoolCompressor: true,
	})
	if err != nil {
		return err
	}
	indexer, err := esutil.NewBulkIndexer(esutil.BulkIndexerConfig{Client: client, Index: *stream, NumWorkers: 2})
	if err != nil {
		return err
	}
	f, err := os.Open(*documents)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		var action struct {
			Create struct {
				ID string `json:"_id"`
			}
		}
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal(line, &action); err != nil {
			return err
		}
		doc, err := r.ReadBytes('\n')
		if err != nil {
			return err
		}
		item := esutil.BulkIndexerItem{Action: "create", DocumentID: action.Create.ID, Body: bytes.NewReader(doc[:len(doc)-1])}
		if err := indexer.Add(ctx, item); err != nil {
			return err
		}
	}
	if err := indexer.Close(ctx); err != nil {
		return err
	}
	if st := indexer.Stats(); st.NumFailed > 0 {
		return fmt.Errorf("%d documents were refused", st.NumFailed)
	}
	return nil
}
