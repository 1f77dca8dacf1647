package corev1

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// field is the value of one field of a message: bytes or a number, by its wire type.
type field struct {
	bytes  []byte
	number uint64
}

func (f field) text() string { return string(f.bytes) }

// eachField calls set for each field of a message, in their order. The numbers of the
// fields are those of k8s.io/api/core/v1/generated.proto.
func eachField(message []byte, set func(number int, f field) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var f field
		switch kind {
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			f.number, n = protowire.ConsumeVarint(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if err := set(int(number), f); err != nil {
			return err
		}
	}
	return nil
}

// message is a pointer to a type that reads a message into itself.
type message[T any] interface {
	*T
	Unmarshal([]byte) error
}

// appendTo reads a message and appends it to a list.
func appendTo[T any, P message[T]](list *[]T, f field) error {
	*list = append(*list, *new(T))
	return P(&(*list)[len(*list)-1]).Unmarshal(f.bytes)
}

// setPointer reads a message into a new value, or into the one that is there.
func setPointer[T any, P message[T]](to **T, f field) error {
	if *to == nil {
		*to = new(T)
	}
	return P(*to).Unmarshal(f.bytes)
}

// setEntry reads one entry of a map.
func setEntry[V string | []byte](to *map[string]V, f field) error {
	var key string
	var value []byte
	err := eachField(f.bytes, func(n int, f field) error {
		switch n {
		case 1:
			key = f.text()
		case 2:
			value = f.bytes
		}
		return nil
	})
	if *to == nil {
		*to = map[string]V{}
	}
	(*to)[key] = V(append([]byte{}, value...))
	return err
}

// Reset empties the object, as do those below.
func (p *Pod) Reset()            { *p = Pod{} }
func (p *PodList) Reset()        { *p = PodList{} }
func (n *Node) Reset()           { *n = Node{} }
func (s *Secret) Reset()         { *s = Secret{} }
func (s *ServiceAccount) Reset() { *s = ServiceAccount{} }
func (c *ConfigMap) Reset()      { *c = ConfigMap{} }
func (c *ConfigMapList) Reset()  { *c = ConfigMapList{} }

// Unmarshal reads the object from its protobuf message, as do those below.
func (p *Pod) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			return p.ObjectMeta.Unmarshal(f.bytes)
		case 2:
			return p.Spec.Unmarshal(f.bytes)
		case 3:
			return p.Status.Unmarshal(f.bytes)
		}
		return nil
	})
}

func (p *PodList) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			return p.ListMeta.Unmarshal(f.bytes)
		case 2:
			return appendTo(&p.Items, f)
		}
		return nil
	})
}

func (s *PodSpec) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			return appendTo(&s.Volumes, f)
		case 2:
			return appendTo(&s.Containers, f)
		case 7:
			return setEntry(&s.NodeSelector, f)
		case 8:
			s.ServiceAccountName = f.text()
		case 10:
			s.NodeName = f.text()
		case 15:
			return appendTo(&s.ImagePullSecrets, f)
		case 20:
			return appendTo(&s.InitContainers, f)
		case 29:
			s.RuntimeClassName = new(f.text())
		case 34:
			return appendTo(&s.EphemeralContainers, f)
		case 38:
			return appendTo(&s.SchedulingGates, f)
		}
		return nil
	})
}

func (g *PodSchedulingGate) Unmarshal(b []byte) error { return first(b, &g.Name) }

func (v *Volume) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			v.Name = f.text()
		case 2:
			return v.VolumeSource.Unmarshal(f.bytes)
		}
		return nil
	})
}

func (v *VolumeSource) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 2:
			v.EmptyDir = &Present{}
		case 6:
			return setPointer(&v.Secret, f)
		case 10:
			return setPointer(&v.PersistentVolumeClaim, f)
		case 16:
			v.DownwardAPI = &Present{}
		case 19:
			return setPointer(&v.ConfigMap, f)
		case 26:
			return setPointer(&v.Projected, f)
		case 28:
			v.CSI = &Present{}
		case 30:
			return setPointer(&v.Image, f)
		}
		return nil
	})
}

func (s *SecretVolumeSource) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			s.SecretName = f.text()
		case 4:
			s.Optional = new(f.number != 0)
		}
		return nil
	})
}

func (c *PersistentVolumeClaimVolumeSource) Unmarshal(b []byte) error { return first(b, &c.ClaimName) }

// named reads a reference to an object, and whether it may be absent: what a ConfigMap in a
// volume and the sources of a projected one consist of.
func named(b []byte, to *LocalObjectReference, optional **bool) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			return to.Unmarshal(f.bytes)
		case 4:
			*optional = new(f.number != 0)
		}
		return nil
	})
}

func (c *ConfigMapVolumeSource) Unmarshal(b []byte) error {
	return named(b, &c.LocalObjectReference, &c.Optional)
}
func (s *SecretProjection) Unmarshal(b []byte) error {
	return named(b, &s.LocalObjectReference, &s.Optional)
}
func (c *ConfigMapProjection) Unmarshal(b []byte) error {
	return named(b, &c.LocalObjectReference, &c.Optional)
}

func (p *ProjectedVolumeSource) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		if n == 1 {
			return appendTo(&p.Sources, f)
		}
		return nil
	})
}

func (v *VolumeProjection) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			return setPointer(&v.Secret, f)
		case 3:
			return setPointer(&v.ConfigMap, f)
		}
		return nil
	})
}

func (v *ImageVolumeSource) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			v.Reference = f.text()
		case 2:
			v.PullPolicy = PullPolicy(f.text())
		}
		return nil
	})
}

func (c *Container) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			c.Name = f.text()
		case 2:
			c.Image = f.text()
		case 9:
			return appendTo(&c.VolumeMounts, f)
		case 11:
			c.ReadinessProbe = &Present{}
		case 14:
			c.ImagePullPolicy = PullPolicy(f.text())
		case 22:
			c.StartupProbe = &Present{}
		case 24:
			c.RestartPolicy = new(ContainerRestartPolicy(f.text()))
		}
		return nil
	})
}

func (c *EphemeralContainer) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		if n == 1 {
			return (*Container)(&c.EphemeralContainerCommon).Unmarshal(f.bytes)
		}
		return nil
	})
}

// first reads a message of which only the first field matters, a string.
func first(b []byte, to *string) error {
	return eachField(b, func(n int, f field) error {
		if n == 1 {
			*to = f.text()
		}
		return nil
	})
}

func (m *VolumeMount) Unmarshal(b []byte) error          { return first(b, &m.Name) }
func (r *LocalObjectReference) Unmarshal(b []byte) error { return first(b, &r.Name) }

func (s *PodStatus) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			s.Phase = PodPhase(f.text())
		case 2:
			return appendTo(&s.Conditions, f)
		case 3:
			s.Message = f.text()
		case 4:
			s.Reason = f.text()
		case 7:
			return setPointer(&s.StartTime, f)
		case 8:
			return appendTo(&s.ContainerStatuses, f)
		case 10:
			return appendTo(&s.InitContainerStatuses, f)
		case 13:
			return appendTo(&s.EphemeralContainerStatuses, f)
		}
		return nil
	})
}

func (c *PodCondition) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			c.Type = PodConditionType(f.text())
		case 2:
			c.Status = ConditionStatus(f.text())
		case 4:
			return c.LastTransitionTime.Unmarshal(f.bytes)
		}
		return nil
	})
}

func (s *ContainerStatus) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			s.Name = f.text()
		case 2:
			return s.State.Unmarshal(f.bytes)
		case 3:
			return s.LastTerminationState.Unmarshal(f.bytes)
		case 4:
			s.Ready = f.number != 0
		case 5:
			s.RestartCount = int32(f.number)
		case 6:
			s.Image = f.text()
		case 7:
			s.ImageID = f.text()
		case 9:
			s.Started = new(f.number != 0)
		}
		return nil
	})
}

func (s *ContainerState) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			return setPointer(&s.Waiting, f)
		case 2:
			return setPointer(&s.Running, f)
		case 3:
			return setPointer(&s.Terminated, f)
		}
		return nil
	})
}

func (s *ContainerStateWaiting) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			s.Reason = f.text()
		case 2:
			s.Message = f.text()
		}
		return nil
	})
}

func (s *ContainerStateRunning) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		if n == 1 {
			return s.StartedAt.Unmarshal(f.bytes)
		}
		return nil
	})
}

func (s *ContainerStateTerminated) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			s.ExitCode = int32(f.number)
		case 3:
			s.Reason = f.text()
		case 4:
			s.Message = f.text()
		case 5:
			return s.StartedAt.Unmarshal(f.bytes)
		case 6:
			return s.FinishedAt.Unmarshal(f.bytes)
		}
		return nil
	})
}

func (n *Node) Unmarshal(b []byte) error {
	return eachField(b, func(number int, f field) error {
		switch number {
		case 1:
			return n.ObjectMeta.Unmarshal(f.bytes)
		case 3:
			return n.Status.Unmarshal(f.bytes)
		}
		return nil
	})
}

func (s *NodeStatus) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 4:
			return appendTo(&s.Conditions, f)
		case 7:
			return s.NodeInfo.Unmarshal(f.bytes)
		}
		return nil
	})
}

func (i *NodeSystemInfo) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		if n == 7 {
			i.KubeletVersion = f.text()
		}
		return nil
	})
}

func (c *NodeCondition) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			c.Type = NodeConditionType(f.text())
		case 2:
			c.Status = ConditionStatus(f.text())
		case 4:
			return c.LastTransitionTime.Unmarshal(f.bytes)
		case 5:
			c.Reason = f.text()
		}
		return nil
	})
}

func (s *Secret) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			return s.ObjectMeta.Unmarshal(f.bytes)
		case 2:
			return setEntry(&s.Data, f)
		case 3:
			s.Type = f.text()
		}
		return nil
	})
}

func (s *ServiceAccount) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			return s.ObjectMeta.Unmarshal(f.bytes)
		case 3:
			return appendTo(&s.ImagePullSecrets, f)
		}
		return nil
	})
}

func (c *ConfigMapList) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			return c.ListMeta.Unmarshal(f.bytes)
		case 2:
			return appendTo(&c.Items, f)
		}
		return nil
	})
}

func (c *ConfigMap) Unmarshal(b []byte) error {
	return eachField(b, func(n int, f field) error {
		switch n {
		case 1:
			return c.ObjectMeta.Unmarshal(f.bytes)
		case 2:
			return setEntry(&c.Data, f)
		}
		return nil
	})
}
