package mesos

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// A MarathonTask is one instance of an app as Marathon has it now.
type MarathonTask struct {
	ID        string    `json:"id"`
	App       string    `json:"appId"`
	Host      string    `json:"host"`
	Ports     []int     `json:"ports"`
	State     string    `json:"state"` // "TASK_RUNNING"
	Version   string    `json:"version"`
	StartedAt time.Time `json:"startedAt"` // zero: it has not
}

// Tasks asks for all tasks of all apps.
func (m *MarathonClient) Tasks(ctx context.Context) ([]MarathonTask, error) {
	resp, err := m.any(ctx, "/v2/tasks")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Tasks []MarathonTask `json:"tasks"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("decode tasks of marathon: %w", err)
	}
	return answer.Tasks, nil
}
