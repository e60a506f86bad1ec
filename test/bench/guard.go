package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// recorded are the ratios to the reference that once were measured, by row.
// They hold on other machines too, about; lines per CPU second do not.
//
//go:embed ratios.json
var recorded []byte

// worst is how much of a recorded ratio has to remain.
const worst = 0.75

// A guard holds ratios against the recorded ones.
type guard map[string]float64

func readGuard(data []byte) (g guard, err error) {
	if err := json.Unmarshal(data, &g); err != nil {
		return nil, fmt.Errorf("recorded ratios: %w", err)
	}
	return g, nil
}

// check is an error if a row has worsened by more than a quarter.
func (g guard) check(row string, ratio float64) error {
	if want, ok := g[row]; ok && ratio < want*worst {
		return fmt.Errorf("%s: %.2f times the reference, %.2f were recorded, and at least %.2f must remain", row, ratio, want, want*worst)
	}
	return nil
}

// write records ratios in the source of this program.
func (g guard) write(dir string) error {
	data, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "ratios.json"), append(data, '\n'), 0o644)
}
