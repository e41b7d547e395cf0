"""Methods that are solved in closed form: forest and support vectors. Fitted in one step, kept in buffers."""
