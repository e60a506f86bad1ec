package fakees

// Arrived is how many documents were stored so far: those with a smaller
// Arrival are there now.
func (s *Server) Arrived() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrival
}
